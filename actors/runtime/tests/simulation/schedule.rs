//! What happens in a run, drawn from its seed before it begins. Numbers like `pick` choose among what is there then.

use super::random::Random;

pub const USERS: u64 = 6;
pub const DEVICES: u64 = 2;
pub const GROUPS: u64 = 3;

/// What may go wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Clients come and go politely.
    Calm,
    /// Clients stall, vanish and move.
    Moves,
    /// Nodes leave and join in order.
    Drains,
    /// Nodes die, and others take their place.
    Kills,
    /// The directory is away, for some or all, and loses its memory.
    Directory,
    /// Nodes can't reach each other, or answers get lost.
    Links,
    /// Nodes stop for a while.
    Freezes,
    /// Everything at once.
    All,
    /// Two nodes lose and find each other while everybody talks.
    Partings,
}

pub const PROFILES: [Profile; 9] = [
    Profile::Calm,
    Profile::Moves,
    Profile::Drains,
    Profile::Kills,
    Profile::Directory,
    Profile::Links,
    Profile::Freezes,
    Profile::All,
    Profile::Partings,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connect {
        user: u64,
        device: u64,
        pick: u64,
    },
    Close {
        pick: u64,
    },
    Cut {
        pick: u64,
    },
    /// The device connects elsewhere while its old connection is still thought to be alive.
    Move {
        pick: u64,
        to: u64,
        room: u64,
    },
    Stall {
        pick: u64,
        room: u64,
    },
    Resume,
    Send {
        pick: u64,
        to: u64,
        count: u64,
        bytes: u64,
    },
    SendGroup {
        pick: u64,
        group: u64,
        count: u64,
        bytes: u64,
    },
    Denied {
        pick: u64,
        to: u64,
    },
    Pause {
        ms: u64,
    },
    /// Long enough for everything to be where it belongs.
    Settle,
    Drain {
        pick: u64,
    },
    Join {
        again: bool,
    },
    Kill {
        pick: u64,
    },
    Away {
        pick: u64,
    },
    AllAway,
    Empty,
    Part {
        pick: u64,
        other: u64,
    },
    Flaky {
        directory: bool,
        delay_ms: u64,
        fail: u64,
        mute: u64,
    },
    Freeze {
        pick: u64,
    },
    NoBurials,
    Heal,
}

pub fn draw(seed: u64, profile: Profile) -> Vec<Step> {
    let mut random = Random::of(seed, ("schedule", profile));
    let mut steps = Vec::new();
    for user in 0..USERS {
        for device in 0..random.between(1, DEVICES) {
            if random.chance(800) {
                steps.push(Step::Connect { user, device, pick: random.next() % 60 });
            }
        }
    }
    steps.push(Step::Pause { ms: 1_500 });
    for _ in 0..random.between(20, 50) {
        let step = step(&mut random, profile);
        if matches!(step, Step::Kill { .. }) && random.chance(500) {
            steps.push(Step::Settle);
        }
        steps.push(step);
    }
    steps
}

fn step(random: &mut Random, profile: Profile) -> Step {
    match random.below(100) {
        0..40 => message(random),
        40..52 => Step::Pause { ms: random.between(1, 4_000) },
        52..64 => connect(random),
        64..70 => Step::Close { pick: random.below(60) },
        70..82 if profile != Profile::Calm => client_trouble(random),
        82.. if profile != Profile::Calm => trouble(random, profile),
        _ => message(random),
    }
}

fn connect(random: &mut Random) -> Step {
    Step::Connect { user: random.below(USERS), device: random.below(DEVICES), pick: random.below(60) }
}

fn message(random: &mut Random) -> Step {
    let (pick, bytes) = (random.below(60), random.between(1, 400));
    match random.below(20) {
        0 => Step::Denied { pick, to: random.below(USERS) },
        1..6 => Step::SendGroup { pick, group: random.below(GROUPS), count: random.between(1, 3), bytes },
        _ => Step::Send { pick, to: random.below(USERS), count: random.between(1, 6), bytes },
    }
}

fn client_trouble(random: &mut Random) -> Step {
    let pick = random.below(60);
    let room = if random.chance(500) { 0 } else { random.between(1, 600) };
    match random.below(10) {
        0..3 => Step::Cut { pick },
        3..6 => Step::Move { pick, to: random.below(60), room },
        6..8 => Step::Stall { pick, room },
        _ => Step::Resume,
    }
}

fn trouble(random: &mut Random, profile: Profile) -> Step {
    let pick = random.below(60);
    match profile {
        Profile::Calm | Profile::Moves | Profile::Partings => client_trouble(random),
        Profile::Drains => match random.below(10) {
            0..5 => Step::Drain { pick },
            _ => Step::Join { again: random.chance(500) },
        },
        Profile::Kills => match random.below(10) {
            0..5 => Step::Kill { pick },
            _ => Step::Join { again: random.chance(500) },
        },
        Profile::Directory => match random.below(10) {
            0..3 => Step::AllAway,
            3..5 => Step::Away { pick },
            5..7 => Step::Empty,
            7 => flaky(random, true),
            _ => Step::Heal,
        },
        Profile::Links => match random.below(10) {
            0..3 => Step::Part { pick, other: random.below(60) },
            3..6 => flaky(random, false),
            _ => Step::Heal,
        },
        Profile::Freezes => match random.below(10) {
            0..4 => Step::Freeze { pick },
            _ => Step::Heal,
        },
        Profile::All => {
            use Profile::{Directory, Drains, Freezes, Kills, Links};
            let profiles = [Drains, Kills, Directory, Links, Freezes];
            let which = profiles[random.below(profiles.len() as u64) as usize];
            trouble(random, which)
        }
    }
}

fn flaky(random: &mut Random, directory: bool) -> Step {
    Step::Flaky { directory, delay_ms: random.below(40), fail: random.below(300), mute: random.below(300) }
}
