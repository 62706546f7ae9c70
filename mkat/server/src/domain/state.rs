//! The state machine: what a signal does to a monitor, what that makes of its service, and what people are told.

use super::{MonitorState, ServiceState};

/// What a monitor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    pub const fn monitor_state(self) -> MonitorState {
        match self {
            Self::Success => MonitorState::Up,
            Self::Failure => MonitorState::Down,
        }
    }
}

/// A service is as bad as the worst of its monitors: Down if any is Down, else Up if any is Up, else Unknown.
pub fn worst_of(monitors: impl IntoIterator<Item = MonitorState>) -> ServiceState {
    let worst = monitors.into_iter().max();
    match worst {
        None | Some(MonitorState::Unknown) => ServiceState::Unknown,
        Some(MonitorState::Up) => ServiceState::Up,
        Some(MonitorState::Down) => ServiceState::Down,
    }
}

/// What a change of a service's state is worth saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Nothing,
    Failed,
    Recovered,
}

pub fn news(from: ServiceState, to: ServiceState) -> News {
    match (from, to) {
        (ServiceState::Unknown | ServiceState::Up, ServiceState::Down) => News::Failed,
        (ServiceState::Down, ServiceState::Up) => News::Recovered,
        _ => News::Nothing,
    }
}

/// Whether the news is announced now, given the mute windows and what people were last told.
/// Nobody hears of the recovery of a failure that nobody was told about.
pub fn announced(news: News, muted: bool, told_down: bool) -> bool {
    match news {
        News::Nothing => false,
        News::Failed => !muted,
        News::Recovered => !muted && told_down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_service_is_as_bad_as_its_worst_monitor() {
        use MonitorState::*;
        let table: &[(&[MonitorState], ServiceState)] = &[
            (&[], ServiceState::Unknown),
            (&[Unknown], ServiceState::Unknown),
            (&[Unknown, Up], ServiceState::Up),
            (&[Up, Down, Unknown], ServiceState::Down),
            (&[Down], ServiceState::Down),
        ];
        for (monitors, expected) in table {
            assert_eq!(worst_of(monitors.iter().copied()), *expected, "{monitors:?}");
        }
    }

    #[test]
    fn only_falling_and_rising_is_news() {
        for from in ServiceState::ALL {
            for to in ServiceState::ALL {
                let expected = match (from, to) {
                    (ServiceState::Unknown | ServiceState::Up, ServiceState::Down) => News::Failed,
                    (ServiceState::Down, ServiceState::Up) => News::Recovered,
                    _ => News::Nothing,
                };
                assert_eq!(news(*from, *to), expected, "{from:?} {to:?}");
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Report(usize, bool),
        Mute(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_usize..3, any::<bool>()).prop_map(|(monitor, good)| Step::Report(monitor, good)),
            any::<bool>().prop_map(Step::Mute),
        ]
    }

    proptest! {
        /// Whatever the monitors report and whenever it is muted: what people hear alternates, beginning with a failure.
        #[test]
        fn people_hear_failure_and_recovery_in_turn(steps in prop::collection::vec(step(), 1..200)) {
            let mut monitors = [MonitorState::Unknown; 3];
            let (mut service, mut muted, mut told_down) = (ServiceState::Unknown, false, false);
            let mut heard = Vec::new();
            for step in steps {
                match step {
                    Step::Mute(on) => muted = on,
                    Step::Report(monitor, good) => {
                        let outcome = if good { Outcome::Success } else { Outcome::Failure };
                        monitors[monitor] = outcome.monitor_state();
                        let to = worst_of(monitors);
                        let news = news(service, to);
                        service = to;
                        if announced(news, muted, told_down) {
                            told_down = news == News::Failed;
                            heard.push(news);
                        }
                    }
                }
            }
            // A failure may follow a failure (its recovery was muted); a recovery never comes without its failure.
            let mut open = false;
            for news in heard {
                prop_assert!(news == News::Failed || open, "a recovery that nobody waited for");
                open = news == News::Failed;
            }
        }
    }
}
