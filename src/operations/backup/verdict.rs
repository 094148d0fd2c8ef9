//! What `pgbackrest verify --output=text --verbose` found. Its exit code says nothing of damage.

/// Whether a backup is whole.
///
/// # Errors
/// What was found wrong with it, or that nothing was said of it.
pub fn of(output: &str, label: &str) -> Result<(), String> {
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let about = format!("backup: {label},");
    let Some(at) = lines.iter().position(|line| line.starts_with(&about)) else {
        let status = lines.iter().position(|line| *line == "status: error");
        let why = status.and_then(|at| lines.get(at + 1)).copied();
        return Err(why.unwrap_or("pgBackRest says nothing of it").to_owned());
    };
    let (line, detail) = (lines[at], lines.get(at + 1).copied().unwrap_or_default());
    match line.contains("status: valid,") || line.ends_with("status: valid") {
        true => Ok(()),
        false => Err(format!("{line}; {detail}")),
    }
}
