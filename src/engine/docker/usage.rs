//! How full a volume is. The program is fixed and writes numbers; what is no number counts as nothing.

use super::errors::within;
use super::{CHANGE, DockerEngine};
use crate::domain::storage::VolumeUsage;
use crate::engine::EngineError;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::TryStreamExt;

/// Files come and go while they are counted, so no failure of a count is one. `$1` is "whole" for a plain
/// volume, whose files are all counted.
pub(super) const USAGE: &str = r#"
cd /var/lib/pgflex
sum() { du -s -c -B1 "$@" 2>/dev/null | tail -n 1 | cut -f 1; }
set -- "$1" $(stat -f -c '%S %b %f %a' .)
echo "total $(($2 * $3))"
echo "free $(($2 * $5))"
if [ "$1" = whole ]; then echo "used $(sum .)"; else echo "used $(($2 * ($3 - $4)))"; fi
echo "wal $(sum data/pg_wal)"
echo "temporary $(sum data/base/pgsql_tmp data/pg_tblspc/*/*/pgsql_tmp)"
echo "reserve $(sum reserve)"
"#;
/// What the program writes, at most.
const OUTPUT_BYTES_MAX: usize = 4096;

impl DockerEngine {
    pub(super) async fn measure(
        &self,
        name: &str,
        is_sized: bool,
    ) -> Result<VolumeUsage, EngineError> {
        self.must_be_ours(name).await?;
        let client = self.client().await?;
        let mode = if is_sized { "sized" } else { "whole" };
        let options = CreateExecOptions {
            cmd: Some(vec!["sh", "-c", USAGE, "usage", mode]),
            attach_stdout: Some(true),
            ..Default::default()
        };
        let run = async {
            let exec = client.create_exec(name, options).await?.id;
            let mut text = Vec::new();
            if let StartExecResults::Attached { mut output, .. } =
                client.start_exec(&exec, None).await?
            {
                while let Some(part) = output.try_next().await? {
                    if let LogOutput::StdOut { message } = part
                        && text.len() < OUTPUT_BYTES_MAX
                    {
                        text.extend_from_slice(&message);
                    }
                }
            }
            Ok(text)
        };
        let text = within(CHANGE, name, run).await?;
        let text = String::from_utf8_lossy(&text);
        read(text.lines())
            .ok_or_else(|| EngineError::Refused(format!("the volume of {name} told no size")))
    }
}

/// `None` when the size is missing: then nothing was measured.
pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Option<VolumeUsage> {
    let mut usage = VolumeUsage::default();
    for line in lines {
        let Some((name, number)) = line.split_once(' ') else { continue };
        let Ok(number) = number.trim().parse() else { continue };
        match name {
            "total" => usage.total = number,
            "free" => usage.free = number,
            "used" => usage.used = number,
            "wal" => usage.wal = number,
            "temporary" => usage.temporary = number,
            "reserve" => usage.reserve = number,
            _ => {}
        }
    }
    (usage.total > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_count() {
        let text = "total 100\nfree 40\nused x\nwal 7\nevil\ntemporary 99999999999999999999999\n";
        let usage = read(text.lines()).unwrap();
        assert_eq!((usage.total, usage.free, usage.used, usage.wal), (100, 40, 0, 7));
        assert_eq!(usage.temporary, 0);
        assert_eq!(read("free 40".lines()), None, "without a size nothing was measured");
    }
}
