//! The way back: what a person set, from the file that was rendered of it. For a recovery without any record.

use super::BY_A_PERSON;
use crate::domain::configuration::Configuration;
use crate::domain::extensions;

/// What `postgresql.conf` tells of the configuration that it was rendered from. Pooler, growth and whether TLS is required are not in
/// it: they are as for a new server.
pub fn configuration_in(text: &str) -> Configuration {
    let mut configuration = Configuration::default();
    let own = text.lines().skip_while(|line| *line != BY_A_PERSON).skip(1);
    for (name, value) in own.take_while(|line| !line.is_empty()).filter_map(pair) {
        configuration.parameters.insert(name.to_owned(), value);
    }
    let allowed = text.lines().filter_map(pair).find(|(name, _)| *name == "extwlist.extensions");
    let allowed = allowed.map(|(_, value)| value).unwrap_or_default();
    let names = allowed.split(',').map(|name| name.trim_matches('"'));
    let names = names.filter(|name| extensions::is_offered(name));
    configuration.extensions = names.map(str::to_owned).collect();
    configuration
}

/// A line with a quoted value.
fn pair(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.split_once(" = ")?;
    let inner = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name, inner.replace("''", "'").replace("\\\\", "\\")))
}

#[cfg(test)]
mod tests {
    use super::super::Value::Text;
    use super::*;

    #[test]
    fn what_was_rendered_is_read_back() {
        let nasty = "it's a \\ \"x\"";
        let text = format!(
            "port = 5432\nextwlist.extensions = '\"pg_trgm\",\"nonsense\"'\n\n{BY_A_PERSON}\nwork_mem = '8MB'\nsearch_path = {}\n\n# Replication\nprimary_slot_name = 'x'\n",
            Text(nasty.into())
        );
        let found = configuration_in(&text);
        assert_eq!(found.parameters.len(), 2, "{:?}", found.parameters);
        assert_eq!(found.parameters["work_mem"], "8MB");
        assert_eq!(found.parameters["search_path"], nasty);
        assert_eq!(found.extensions.into_iter().collect::<Vec<_>>(), ["pg_trgm"]);
        assert_eq!(configuration_in("nothing of ours"), Configuration::default());
    }
}
