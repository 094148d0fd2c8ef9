//! What is printed: plain tables on the terminal as they come, the same as Markdown in a file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// Whether an aim was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// This machine cannot tell; the note says why.
    NotMeasurable,
}

impl Verdict {
    pub fn of(met: bool) -> Self {
        if met { Verdict::Met } else { Verdict::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::NotMeasurable => "not measurable here",
        }
    }
}

/// One line of the summary.
pub struct Promise {
    pub promise: String,
    pub measured: String,
    pub anchor: String,
    pub ratio: String,
    pub aim: String,
    pub verdict: Verdict,
}

/// Collects and prints. Shared by the sections, which run one after the other.
#[derive(Default)]
pub struct Report(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    markdown: String,
    promises: Vec<Vec<String>>,
}

const SUMMARY: [&str; 6] = ["promise", "measured", "anchor (same run)", "ratio", "aim", "aim was"];

impl Report {
    /// Prints the head: where and when this is measured.
    pub fn begin(facts: &[(&'static str, String)]) -> Self {
        let report = Self::default();
        report.heading("Promises in numbers");
        for (name, value) in facts {
            report.both(&format!("{name}: {value}\n"), &format!("- {name}: {value}\n"));
        }
        report
    }

    pub fn heading(&self, text: &str) {
        self.both(&format!("\n== {text}\n"), &format!("\n## {text}\n\n"));
    }

    /// A remark that belongs to the figures around it.
    pub fn note(&self, text: &str) {
        self.both(&format!("{text}\n"), &format!("\n{text}\n"));
    }

    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        self.both(&plain(head, rows), &markdown(head, rows));
    }

    /// Adds a line to the summary, which is printed at the end.
    pub fn promise(&self, promise: Promise) {
        let verdict = promise.verdict.word().to_owned();
        self.inner(|inner| {
            inner.promises.push(vec![
                promise.promise,
                promise.measured,
                promise.anchor,
                promise.ratio,
                promise.aim,
                verdict,
            ]);
        });
        self.save();
    }

    /// Prints the summary.
    pub fn end(&self) {
        let mut rows = vec![];
        self.inner(|inner| rows = inner.promises.clone());
        self.heading("Summary");
        self.table(&SUMMARY, &rows);
        match self.save() {
            Some(path) => println!("\nThe same as Markdown: {}", path.display()),
            None => eprintln!("bench: the Markdown file could not be written"),
        }
    }

    fn both(&self, plain: &str, markdown: &str) {
        print!("{plain}");
        self.inner(|inner| inner.markdown.push_str(markdown));
    }

    fn inner(&self, change: impl FnOnce(&mut Inner)) {
        if let Ok(mut inner) = self.0.lock() {
            change(&mut inner);
        }
    }

    /// After every promise, so that an interrupted run leaves what it had.
    fn save(&self) -> Option<PathBuf> {
        let folder = target_folder()?.join("bench");
        std::fs::create_dir_all(&folder).ok()?;
        let path = folder.join("promises.md");
        let mut text = String::new();
        self.inner(|inner| text.clone_from(&inner.markdown));
        std::fs::write(&path, text).ok()?;
        Some(path)
    }
}

/// The folder `target`: this program is in `target/release/deps`.
fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().nth(3).map(PathBuf::from)
}

fn plain(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).chain([head[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = line(head.iter().copied(), &widths);
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text.push_str(&line(rule.iter().map(String::as_str), &widths));
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str), &widths));
    }
    text
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        let _ = write!(text, "{cell}{}  ", " ".repeat(width.saturating_sub(cell.chars().count())));
    }
    format!("{}\n", text.trim_end())
}

fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("\n| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len()));
    for cells in rows {
        text.push_str(&row(cells));
    }
    text
}
