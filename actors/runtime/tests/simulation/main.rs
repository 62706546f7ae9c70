//! Seeded runs of a whole cluster in one thread and in virtual time, with everything going wrong that can: whatever was
//! acked SENT must come, or be lost for a reason that the documents name. A seed that fails is printed with its steps.

mod books;
mod hooks;
mod net;
mod ports;
mod random;
mod schedule;
mod wire;
mod world;

use std::time::Duration;

use hooks::DENIED;
use net::Flaky;
use random::Random;
use schedule::{PROFILES, Profile, Step};
use world::{TENANT, World};

/// Seeds per profile in an ordinary run.
const SEEDS: u64 = 100;

/// After the end of the trouble, until leases, graves and re-replication are done with.
const SETTLE: Duration = Duration::from_secs(35);

type Outcome = (Vec<String>, Vec<(u64, String)>);

async fn play(seed: u64, profile: Profile, steps: Vec<Step>) -> Outcome {
    let mut world = World::new(seed, profile);
    for step in steps {
        world.step(step).await;
    }
    world.heal();
    world.pass(SETTLE).await;
    check_settled(&mut world);
    world.books.check_unanswered();
    world.everybody_reconnects().await;
    world.pass(Duration::from_secs(20)).await;
    world.lose_the_left_behind();
    check_end(&mut world, profile);
    (std::mem::take(&mut world.books.wrong), std::mem::take(&mut world.books.diary))
}

/// Everything healed: whoever is online has everything, and whatever is kept is kept twice.
fn check_settled(world: &mut World) {
    world.lose_the_left_behind();
    let kept = world.kept();
    let two = world.living().len().min(2);
    for (message, user) in world.books.missing() {
        let Some(copies) = kept.get(&(message, user.clone())) else { continue };
        if copies.len() < two {
            let places: Vec<_> = copies.iter().map(|(instance, _)| instance).collect();
            let living = world.living();
            world.books.wrong.push(format!("m{message} for {user} is kept only on {places:?} of {living:?}"));
        }
        let online = world.online(&user, Duration::from_secs(20));
        let waits = |device: &String| {
            copies.iter().any(|(_, e)| e.devices.is_empty() || e.devices.iter().any(|d| **d == **device))
        };
        if online.iter().any(waits) {
            world.books.wrong.push(format!("m{message} is kept for {user}, who is online, and does not come"));
        }
    }
}

fn check_end(world: &mut World, profile: Profile) {
    let kept = world.kept();
    for (message, user) in world.books.missing() {
        let places: Vec<_> = kept.get(&(message, user.clone())).into_iter().flatten().map(|(at, _)| *at).collect();
        let sent = &world.books.sent[message];
        let ack = sent.ack.as_ref().map(|ack| ack.reason.clone());
        let group = if sent.group { " (group)" } else { "" };
        world.books.wrong.push(format!("m{message}{group} for {user} is lost (kept on {places:?}, ack {ack:?})"));
    }
    let quiet = matches!(profile, Profile::Calm | Profile::Moves | Profile::Drains);
    match quiet {
        true => world.books.check_refused(&[DENIED], &[]),
        false => world.books.check_refused(&[DENIED, "delivery failed"], &["delivery failed"]),
    }
    if quiet {
        world.books.check_duplicates(profile == Profile::Calm);
        world.books.check_order();
    }
    if profile == Profile::Calm {
        world.books.check_every_device();
    }
}

/// Two nodes lose each other again and again while everybody talks, and find each other one direction first: what was
/// kept meanwhile comes before what is sent then.
async fn play_partings(seed: u64) -> Outcome {
    let mut world = World::new(seed, Profile::Partings);
    let mut random = Random::of(seed, "partings");
    (0..schedule::USERS).for_each(|user| world.connect((user, 0), user as usize % 2));
    world.pass(Duration::from_secs(2)).await;
    for _ in 0..3 {
        world.net.flaky(Flaky::default(), Flaky { delay_ms: random.below(40), ..Flaky::default() });
        world.net.part(0, 1);
        talk(&mut world, &mut random, 3_000).await;
        let first = random.below(2) as usize;
        world.net.reach(first, 1 - first);
        talk(&mut world, &mut random, 2_000).await;
        world.net.reach(1 - first, first);
        talk(&mut world, &mut random, 4_000).await;
    }
    world.pass(SETTLE).await;
    check_settled(&mut world);
    check_end(&mut world, Profile::Partings);
    world.books.check_order();
    (std::mem::take(&mut world.books.wrong), std::mem::take(&mut world.books.diary))
}

/// For some time, at most `ms`.
async fn talk(world: &mut World, random: &mut Random, ms: u64) {
    let until = tokio::time::Instant::now() + Duration::from_millis(random.below(ms));
    while tokio::time::Instant::now() < until {
        let pick = random.below(schedule::USERS);
        world.step(Step::Send { pick, to: (pick + 1) % 4, count: random.between(1, 3), bytes: 9 }).await;
    }
}

fn run(seed: u64, profile: Profile) -> Outcome {
    match profile {
        Profile::Partings => alone(move || play_partings(seed)),
        _ => run_steps(seed, profile, schedule::draw(seed, profile)),
    }
}

fn run_steps(seed: u64, profile: Profile, steps: Vec<Step>) -> Outcome {
    alone(move || play(seed, profile, steps))
}

/// One run in a thread of its own, because nodes leave things behind in theirs.
fn alone<F: Future<Output = Outcome>>(run: impl FnOnce() -> F + Send + 'static) -> Outcome {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let playing = std::thread::spawn(move || actix_rt::System::with_tokio_rt(runtime).block_on(run()));
    playing.join().unwrap_or_else(|_| (vec!["panicked".into()], Vec::new()))
}

/// Plays seeds of a profile, prints those that fail and returns them.
fn failing(profile: Profile, seeds: impl Iterator<Item = u64>) -> Vec<(Profile, u64)> {
    // Starts the clock of the nodes before any virtual time begins.
    mics_actors::node::clock_ms();
    let mut failed = Vec::new();
    for seed in seeds {
        let (wrong, diary) = run(seed, profile);
        if !wrong.is_empty() {
            if failed.len() < 3 {
                println!("seed {seed} of {profile:?}:");
                diary.iter().for_each(|(at, what)| println!("{at:>7} {what}"));
            }
            println!("seed {seed} of {profile:?}: {wrong:#?}");
            failed.push((profile, seed));
        }
    }
    failed
}

fn check(profile: Profile, seeds: impl IntoIterator<Item = u64>) {
    let failed = failing(profile, seeds.into_iter());
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}

/// A number from the environment of the build: `SEED=7 PROFILE=Links cargo test --test simulation replay -- --ignored`.
fn given(value: Option<&str>) -> Option<u64> {
    value.and_then(|value| value.parse().ok())
}

#[test]
#[ignore = "replays one seed"]
fn replay() {
    let Some(seed) = given(option_env!("SEED")) else { return };
    let chosen = |profile: &Profile| option_env!("PROFILE").is_none_or(|name| format!("{profile:?}") == name);
    PROFILES.into_iter().filter(chosen).for_each(|profile| check(profile, [seed]));
}

#[test]
#[ignore = "takes long"]
fn many_seeds() {
    let from = given(option_env!("SEED")).unwrap_or(SEEDS);
    let count = given(option_env!("COUNT")).unwrap_or(1_000);
    let chosen = |profile: &Profile| option_env!("PROFILE").is_none_or(|name| format!("{profile:?}") == name);
    let failed = |profile| failing(profile, from..from + count);
    let failed: Vec<_> = PROFILES.into_iter().filter(chosen).flat_map(failed).collect();
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}

#[test]
fn calm() {
    check(Profile::Calm, 0..SEEDS);
}

#[test]
fn clients_move() {
    check(Profile::Moves, 0..SEEDS);
}

#[test]
fn nodes_drain() {
    check(Profile::Drains, 0..SEEDS);
}

#[test]
fn nodes_die() {
    check(Profile::Kills, 0..SEEDS);
}

#[test]
fn directory_fails() {
    check(Profile::Directory, 0..SEEDS);
}

#[test]
fn links_fail() {
    check(Profile::Links, 0..SEEDS);
}

#[test]
fn nodes_freeze() {
    check(Profile::Freezes, 0..SEEDS);
}

#[test]
fn everything_at_once() {
    check(Profile::All, 0..SEEDS);
}

#[test]
fn order_is_kept_when_nodes_lose_and_find_each_other() {
    check(Profile::Partings, 0..SEEDS / 2);
}

#[test]
fn a_copy_that_reaches_its_second_home_during_the_fetch_comes_once() {
    check(Profile::Moves, [410, 570]);
}

#[test]
fn an_older_connection_that_registers_late_does_not_replace_a_newer_one() {
    check(Profile::Freezes, [115]);
}

#[test]
fn what_lies_on_a_home_that_did_not_answer_comes_once_it_does() {
    check(Profile::Freezes, [171]);
}

#[test]
fn a_node_that_leaves_and_knows_no_other_keeps_what_it_has() {
    check(Profile::Drains, [225, 763]);
}

#[test]
fn a_node_that_was_given_up_and_comes_back_before_it_is_buried_has_its_users_fetch_what_was_kept_meanwhile() {
    mics_actors::node::clock_ms();
    let connect = |user, pick| Step::Connect { user, device: 0, pick };
    let mut steps = vec![connect(0, 0)];
    steps.extend((1..schedule::USERS).map(|user| connect(user, 2)));
    steps.extend([Step::Pause { ms: 1_500 }, Step::NoBurials, Step::Freeze { pick: 2 }, Step::Pause { ms: 8_000 }]);
    steps.extend((1..schedule::USERS).map(|to| Step::Send { pick: 0, to, count: 3, bytes: 9 }));
    steps.extend([Step::Pause { ms: 1_000 }, Step::Heal]);
    let (wrong, diary) = run_steps(0, Profile::Freezes, steps);
    assert!(wrong.is_empty(), "{wrong:#?}\n{diary:#?}");
}

#[test]
fn a_removed_tenant_is_forgotten_in_time_and_may_come_back() {
    mics_actors::node::clock_ms();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    actix_rt::System::with_tokio_rt(runtime).block_on(async {
        let mut world = World::new(1, Profile::Calm);
        let node = world.members[0].node.clone();
        let rows = || node.mailboxes().iter().filter(|row| row.tenant == TENANT).count();
        let series = || {
            node.refresh_gauges();
            let text = prometheus::TextEncoder::new().encode_to_string(&node.metrics.registry.gather()).unwrap();
            text.lines().filter(|line| line.contains(&format!("tenant=\"{TENANT}\""))).count()
        };
        world.connect((0, 0), 0);
        world.pass(Duration::from_secs(2)).await;
        assert!(rows() == 3 && series() > 0, "{} rows, {} series", rows(), series());

        node.change_tenants(&Default::default());
        tokio::time::sleep(Duration::from_secs(599)).await;
        assert!(rows() == 3 && series() > 0, "a resend would still be known if it came back now");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!((rows(), series()), (0, 0));

        node.change_tenants(&node.settings.tenants);
        world.connect((1, 0), 0);
        world.pass(Duration::from_secs(2)).await;
        assert!(world.books.connections[1].welcomed);
        assert_eq!(rows(), 3);
    });
}
