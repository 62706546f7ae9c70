//! The enums of the contract. Their numbers are the wire format, so they are written out once, here.

/// Declares an enum that travels as its number and has a name for logs, event rows and the live stream.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant = $number),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn number(self) -> i64 { self as i64 }

            pub const fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name().eq_ignore_ascii_case(name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.number())
            }
        }
    };
}

numbered!(ServiceState { Unknown = 0, Up = 1, Down = 2, Paused = 3 });
numbered!(
    /// State of one monitor; a pause belongs to the service, so there is no fourth value.
    MonitorState { Unknown = 0, Up = 1, Down = 2 }
);
numbered!(MonitorType { Webhook = 0, Heartbeat = 1, HealthCheck = 2, Metric = 3 });
numbered!(AlertType { Failure = 0, Recovery = 1, MissedHeartbeat = 2, FailedHealthCheck = 3 });
numbered!(Severity { Low = 0, Medium = 1, High = 2, Critical = 3 });
numbered!(ThresholdStrategy { Immediate = 0, ConsecutiveCount = 1, TimeDurationAverage = 2, SampleCountAverage = 3 });
numbered!(
    /// 0 and 1 are contract; 2 and above are ours.
    ChannelType { Telegram = 0, Email = 1, Webhook = 2, DingTalk = 3, WeCom = 4 }
);
numbered!(EventType {
    WebhookReceived = 0,
    HeartbeatReceived = 1,
    HealthCheckPerformed = 2,
    MetricIngested = 3,
    StateChanged = 4,
});
numbered!(Granularity { Hourly = 0, Daily = 1, Weekly = 2, Monthly = 3 });
