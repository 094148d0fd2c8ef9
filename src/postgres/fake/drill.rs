//! A drill's data in memory.

use super::FakePostgres;
use crate::postgres::drill::{DrillProbe, DrillWriter};
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Rows by schema.
pub(super) type Drills = BTreeMap<String, Vec<i64>>;

fn missing(schema: &str) -> PostgresError {
    PostgresError::Refused(format!("relation \"{schema}.writes\" does not exist"))
}

#[async_trait]
impl DrillProbe for FakePostgres {
    async fn make_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError> {
        self.answer("make_drill", target)?;
        self.state().drills = BTreeMap::from([(schema.to_owned(), vec![])]);
        Ok(())
    }

    async fn drill_writer(
        &self,
        target: &Target,
        schema: &str,
    ) -> Result<Box<dyn DrillWriter>, PostgresError> {
        self.answer("drill_writer", target)?;
        let (postgres, target) = (self.clone(), target.clone());
        Ok(Box::new(Writer { postgres, target, schema: schema.to_owned() }))
    }

    async fn drill_rows(&self, target: &Target, schema: &str) -> Result<Vec<i64>, PostgresError> {
        self.answer("drill_rows", target)?;
        self.state().drills.get(schema).cloned().ok_or_else(|| missing(schema))
    }

    async fn remove_drill(&self, target: &Target, schema: &str) -> Result<(), PostgresError> {
        self.answer("remove_drill", target)?;
        self.state().drills.remove(schema);
        Ok(())
    }
}

struct Writer {
    postgres: FakePostgres,
    target: Target,
    schema: String,
}

#[async_trait]
impl DrillWriter for Writer {
    async fn write(&mut self, id: i64) -> Result<(), PostgresError> {
        self.postgres.answer("drill_write", &self.target)?;
        let mut state = self.postgres.state();
        state.drills.get_mut(&self.schema).ok_or_else(|| missing(&self.schema))?.push(id);
        Ok(())
    }
}
