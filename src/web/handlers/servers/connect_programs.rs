//! Short programs that connect, one for each language: complete, and the password comes from the
//! environment.

use super::connect_strings::{CA_FILE, Target};
use std::net::IpAddr;

/// Text as a literal of Python, JavaScript, Java, C# or Go: JSON's escapes are understood by all.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub fn jdbc(url: &str) -> String {
    format!(
        r#"import java.sql.*;
import java.util.Properties;

public class Connect {{
    public static void main(String[] args) throws SQLException {{
        Properties properties = new Properties();
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        String url = {url};
        try (Connection connection = DriverManager.getConnection(url, properties);
             ResultSet rows = connection.createStatement().executeQuery("SELECT version()")) {{
            rows.next();
            System.out.println(rows.getString(1));
        }}
    }}
}}"#,
        url = literal(url)
    )
}

/// Named arguments of both Python drivers.
fn python_arguments(target: &Target) -> String {
    format!(
        r#"    host={host},
    port={port},
    dbname={database},
    user={user},
    password=os.environ["PGPASSWORD"],
    sslmode="verify-full",
    sslrootcert="{CA_FILE}","#,
        host = literal(&target.host),
        port = target.port,
        database = literal(&target.database),
        user = literal(&target.user),
    )
}

pub fn psycopg(target: &Target) -> String {
    format!(
        r#"import os
import psycopg

with psycopg.connect(
{}
) as connection:
    print(connection.execute("SELECT version()").fetchone()[0])"#,
        python_arguments(target)
    )
}

pub fn psycopg2(target: &Target) -> String {
    format!(
        r#"import os
import psycopg2

connection = psycopg2.connect(
{}
)
with connection, connection.cursor() as cursor:
    cursor.execute("SELECT version()")
    print(cursor.fetchone()[0])
connection.close()"#,
        python_arguments(target)
    )
}

/// With a CA given, `pg` checks the certificate and the host name: that is what libpq calls `verify-full`.
/// An address must be named to the TLS part too, or the certificate is checked for `localhost`.
pub fn node(target: &Target) -> String {
    let address = match target.host.parse::<IpAddr>() {
        Ok(_) => format!(", host: {}", literal(&target.host)),
        Err(_) => String::new(),
    };
    format!(
        r#"import fs from "node:fs";
import pg from "pg";

const client = new pg.Client({{
  host: {host},
  port: {port},
  database: {database},
  user: {user},
  password: process.env.PGPASSWORD,
  ssl: {{ ca: fs.readFileSync("{CA_FILE}", "utf8"){address} }},
}});
await client.connect();
const result = await client.query("SELECT version()");
console.log(result.rows[0].version);
await client.end();"#,
        host = literal(&target.host),
        port = target.port,
        database = literal(&target.database),
        user = literal(&target.user),
    )
}

pub fn dotnet(connection_string: &str) -> String {
    format!(
        r#"using Npgsql;

var settings = new NpgsqlConnectionStringBuilder({settings})
{{
    Password = Environment.GetEnvironmentVariable("PGPASSWORD"),
}};
await using var connection = new NpgsqlConnection(settings.ConnectionString);
await connection.OpenAsync();
await using var command = new NpgsqlCommand("SELECT version()", connection);
Console.WriteLine(await command.ExecuteScalarAsync());"#,
        settings = literal(connection_string)
    )
}

/// pgx reads `PGPASSWORD` by itself.
pub fn pgx(uri: &str) -> String {
    format!(
        r#"package main

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
)

func main() {{
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, {uri})
	if err != nil {{
		log.Fatal(err)
	}}
	defer connection.Close(ctx)
	var version string
	if err := connection.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(version)
}}"#,
        uri = literal(uri)
    )
}

/// lib/pq reads `PGPASSWORD` by itself.
pub fn lib_pq(uri: &str) -> String {
    format!(
        r#"package main

import (
	"database/sql"
	"fmt"
	"log"

	_ "github.com/lib/pq"
)

func main() {{
	database, err := sql.Open("postgres", {uri})
	if err != nil {{
		log.Fatal(err)
	}}
	defer database.Close()
	var version string
	if err := database.QueryRow("SELECT version()").Scan(&version); err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(version)
}}"#,
        uri = literal(uri)
    )
}
