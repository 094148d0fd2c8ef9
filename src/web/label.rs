//! States as people see them: always a word and a shape, never colour alone.

use crate::domain::activity::ActivityOutcome;
use crate::domain::operation::{OperationStatus, StepStatus};
use crate::domain::server::ServerState;
use askama::filters::HtmlSafe;
use std::fmt;

/// Colour family of a chip or a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Ok,
    Busy,
    Idle,
    Warn,
    Danger,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Tone::Ok => "ok",
            Tone::Busy => "busy",
            Tone::Idle => "idle",
            Tone::Warn => "warn",
            Tone::Danger => "danger",
        }
    }
}

/// Our symbols, each of its own shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    Check,
    Dot,
    Ring,
    Spinner,
    Pause,
    Cross,
    Warning,
    Undo,
    Minus,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Icon::Check => r#"<path d="M3.5 8.5l3 3 6-7"/>"#,
            Icon::Dot => r#"<circle cx="8" cy="8" r="3.5" fill="currentColor" stroke="none"/>"#,
            Icon::Ring => r#"<circle cx="8" cy="8" r="4.5"/>"#,
            Icon::Spinner => r#"<path d="M8 2.5a5.5 5.5 0 1 1-5.5 5.5"/>"#,
            Icon::Pause => r#"<path d="M5.5 4v8M10.5 4v8"/>"#,
            Icon::Cross => r#"<path d="M4 4l8 8M12 4l-8 8"/>"#,
            Icon::Warning => r#"<path d="M8 2.5l6 11H2zM8 6.5v3M8 11.4v.2"/>"#,
            Icon::Undo => r#"<path d="M6 3L3 6l3 3M3 6h6a3.5 3.5 0 0 1 0 7H6"/>"#,
            Icon::Minus => r#"<path d="M3.5 8h9"/>"#,
        }
    }
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if *self == Icon::Spinner { "icon spin" } else { "icon" };
        write!(
            f,
            r#"<svg class="{class}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>"#,
            self.path()
        )
    }
}

impl HtmlSafe for Icon {}

/// A state ready to print: `{{ chip }}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chip {
    pub text: &'static str,
    pub icon: Icon,
    pub tone: Tone,
}

impl Chip {
    pub const fn new(text: &'static str, icon: Icon, tone: Tone) -> Self {
        Self { text, icon, tone }
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<span class="chip chip-{}">{}{}</span>"#,
            self.tone.class(),
            self.icon,
            self.text
        )
    }
}

// Words are ours and static.
impl HtmlSafe for Chip {}

impl From<ServerState> for Chip {
    fn from(state: ServerState) -> Self {
        let (icon, tone) = match state {
            ServerState::Ready => (Icon::Check, Tone::Ok),
            ServerState::Provisioning
            | ServerState::Starting
            | ServerState::Stopping
            | ServerState::Restarting
            | ServerState::Updating
            | ServerState::Dropping => (Icon::Spinner, Tone::Busy),
            ServerState::Stopped => (Icon::Pause, Tone::Idle),
            ServerState::Disabled => (Icon::Minus, Tone::Idle),
            ServerState::Inaccessible => (Icon::Warning, Tone::Warn),
            ServerState::Failed => (Icon::Cross, Tone::Danger),
        };
        Chip::new(state.label(), icon, tone)
    }
}

impl From<OperationStatus> for Chip {
    fn from(status: OperationStatus) -> Self {
        let (icon, tone) = match status {
            OperationStatus::Queued => (Icon::Ring, Tone::Idle),
            OperationStatus::Running => (Icon::Spinner, Tone::Busy),
            OperationStatus::Undoing => (Icon::Undo, Tone::Warn),
            OperationStatus::Succeeded => (Icon::Check, Tone::Ok),
            OperationStatus::Failed => (Icon::Cross, Tone::Danger),
            OperationStatus::Cancelled => (Icon::Minus, Tone::Idle),
            OperationStatus::NeedsAttention => (Icon::Warning, Tone::Danger),
        };
        Chip::new(status.label(), icon, tone)
    }
}

impl From<StepStatus> for Chip {
    fn from(status: StepStatus) -> Self {
        let (icon, tone) = match status {
            StepStatus::Pending => (Icon::Ring, Tone::Idle),
            StepStatus::Running => (Icon::Spinner, Tone::Busy),
            StepStatus::Waiting => (Icon::Pause, Tone::Busy),
            StepStatus::Done => (Icon::Check, Tone::Ok),
            StepStatus::Failed => (Icon::Cross, Tone::Danger),
            StepStatus::Undoing => (Icon::Undo, Tone::Warn),
            StepStatus::Undone => (Icon::Undo, Tone::Idle),
            StepStatus::Skipped => (Icon::Minus, Tone::Idle),
        };
        Chip::new(status.label(), icon, tone)
    }
}

impl From<ActivityOutcome> for Chip {
    fn from(outcome: ActivityOutcome) -> Self {
        match outcome {
            ActivityOutcome::Started => Chip::new("Under way", Icon::Spinner, Tone::Busy),
            ActivityOutcome::Succeeded => Chip::new("Succeeded", Icon::Check, Tone::Ok),
            ActivityOutcome::Failed => Chip::new("Failed", Icon::Cross, Tone::Danger),
            ActivityOutcome::Refused => Chip::new("Refused", Icon::Minus, Tone::Warn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_and_a_shape() {
        let chips = ServerState::ALL.map(Chip::from);
        assert!(
            chips.iter().all(|chip| !chip.text.is_empty() && chip.to_string().contains("<svg"))
        );
        // Those that end work differently must not share a shape.
        assert_ne!(Chip::from(StepStatus::Done).icon, Chip::from(StepStatus::Failed).icon);
    }
}
