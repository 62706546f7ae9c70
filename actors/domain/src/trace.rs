//! Who follows a message through the system, and how it names its place: W3C Trace Context. Must not know any exporter.

use std::fmt;

/// The place of something in a recorded trace, as `traceparent` carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: u128,
    pub span: u64,
}

impl TraceParent {
    /// Reads version 00 of `traceparent`. `None`: malformed, or not recorded by its sender.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut hex = |length: usize| {
            let part = parts.next()?;
            let clean = part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            clean.then(|| u128::from_str_radix(part, 16).ok())?
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let valid = version == 0 && trace != 0 && span != 0 && flags & 1 == 1 && parts.next().is_none();
        valid.then_some(TraceParent { trace, span: span as u64 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

/// What a span stands for, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    Internal,
    /// Somebody else is asked.
    Client,
    /// Somebody else asks.
    Server,
}

/// Part of a trace under way; ends when dropped.
pub trait Span: Send {
    fn place(&self) -> TraceParent;
    fn set(&mut self, key: &'static str, value: String);
    fn fail(&mut self, reason: String);
}

/// Records traces, or none.
pub trait Tracer: Send + Sync {
    /// Without `parent` a new trace, if this one is to be recorded.
    fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<TraceParent>) -> Option<Box<dyn Span>>;
}

/// Records nothing.
pub struct NoTraces;

impl Tracer for NoTraces {
    fn begin(&self, _: &'static str, _: SpanKind, _: Option<TraceParent>) -> Option<Box<dyn Span>> {
        None
    }
}

/// A span that may not be recorded: then it costs nothing.
pub struct Traced(Option<Box<dyn Span>>);

impl Traced {
    pub fn root(tracer: &dyn Tracer, name: &'static str, kind: SpanKind) -> Self {
        Traced(tracer.begin(name, kind, None))
    }

    /// Recorded if the trace is.
    pub fn child(tracer: &dyn Tracer, name: &'static str, kind: SpanKind, parent: Option<TraceParent>) -> Self {
        Traced(parent.and_then(|parent| tracer.begin(name, kind, Some(parent))))
    }

    pub fn place(&self) -> Option<TraceParent> {
        self.0.as_ref().map(|span| span.place())
    }

    pub fn set(&mut self, key: &'static str, value: impl fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.set(key, value.to_string());
        }
    }

    pub fn fail(&mut self, reason: impl fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.fail(reason.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let place = TraceParent::parse(text).unwrap();
        assert_eq!(place.to_string(), text);
    }

    #[test]
    fn what_is_malformed_or_not_recorded_is_no_place() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
