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
