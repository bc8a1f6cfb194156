//! Generates the SQL of a usage query, the same for both databases.
//!
//! Text, because the dimensions are chosen at run time; every value is bound.

use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Nullable, Text};

use super::query::{Among, Dimension, MAX_DIMENSIONS, MAX_ROWS, UsageQuery};
use super::totals::Totals;
use crate::control::store::connection::Backend;
use crate::control::store::entries::LedgerFilter;

/// A row of the result; unused dimensions are NULL.
#[derive(QueryableByName)]
pub(super) struct SumRow {
    #[diesel(sql_type = BigInt)]
    pub(super) bucket: i64,
    #[diesel(sql_type = Nullable<Text>)]
    g0: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g1: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g2: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g3: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g4: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g5: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    g6: Option<String>,
    #[diesel(sql_type = BigInt)]
    requests: i64,
    #[diesel(sql_type = BigInt)]
    prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cached_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cache_write_tokens: i64,
    #[diesel(sql_type = BigInt)]
    completion_tokens: i64,
    #[diesel(sql_type = BigInt)]
    reasoning_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cost_nanousd: i64,
    #[diesel(sql_type = BigInt)]
    list_cost_nanousd: i64,
}

const SUM_COLUMNS: [&str; 7] =
    ["prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens", "cost_nanousd", "list_cost_nanousd"];

/// A bound value.
enum Bound {
    Text(String),
    Number(i64),
}

type Statement = BoxedSqlQuery<'static, Backend, SqlQuery>;

impl SumRow {
    /// Values of the first `count` dimensions.
    pub(super) fn group(self, count: usize) -> Vec<Option<String>> {
        let mut group = vec![self.g0, self.g1, self.g2, self.g3, self.g4, self.g5, self.g6];
        group.truncate(count);
        group
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            cache_write_tokens: self.cache_write_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            cost_nanousd: self.cost_nanousd,
            list_cost_nanousd: self.list_cost_nanousd,
        }
    }
}

/// A table with entries or with sums of entries.
struct SumSource {
    table: &'static str,
    tags: &'static str,
    tagged: &'static str,
    time: &'static str,
    requests: &'static str,
}

const ENTRIES: SumSource = SumSource { table: "entries", tags: "entry_tags", tagged: "entry_id", time: "created_at", requests: "COUNT(*)" };
const MONTHS: SumSource = SumSource {
    table: "usage_months",
    tags: "usage_month_tags",
    tagged: "usage_month_id",
    time: "month",
    requests: "CAST(COALESCE(SUM(e.requests), 0) AS BIGINT)",
};

/// The query as SQL. Both databases accept `$1` and so on for bound values. Both tables are read in
/// one statement, so that an entry that is being rolled up counts once.
pub(super) fn of(query: &UsageQuery) -> Statement {
    let mut bound = Vec::new();
    let mut bind = |value: Bound| {
        bound.push(value);
        format!("${}", bound.len())
    };
    let arms = [ENTRIES, MONTHS].map(|source| arm(query, &source, &mut bind));
    let sql = format!("{} LIMIT {}", arms.join(" UNION ALL "), MAX_ROWS + 1);
    bound.into_iter().fold(diesel::sql_query(sql).into_boxed(), |statement, value| match value {
        Bound::Text(text) => statement.bind::<Text, _>(text),
        Bound::Number(number) => statement.bind::<BigInt, _>(number),
    })
}

/// The sums over one table.
fn arm(query: &UsageQuery, source: &SumSource, bind: &mut impl FnMut(Bound) -> String) -> String {
    let SumSource { table, tags, tagged, time, requests } = source;
    let mut sql = String::from("SELECT ");
    let mut grouping = Vec::new();
    match query.bucket_width {
        Some(width) => {
            let width = width.milliseconds();
            sql.push_str(&format!("e.{time} / {width} * {width} AS bucket"));
            grouping.push("1".to_owned());
        }
        None => sql.push_str("CAST(0 AS BIGINT) AS bucket"),
    }
    for nth in 0..MAX_DIMENSIONS {
        match query.group_by.get(nth) {
            Some(dimension) => {
                let table = if matches!(dimension, Dimension::Tag(_)) { format!("t{nth}") } else { "e".to_owned() };
                sql.push_str(&format!(", {table}.{} AS g{nth}", dimension.column()));
                grouping.push((nth + 2).to_string());
            }
            None => sql.push_str(&format!(", CAST(NULL AS TEXT) AS g{nth}")),
        }
    }
    sql.push_str(&format!(", {requests} AS requests"));
    for column in SUM_COLUMNS {
        sql.push_str(&format!(", CAST(COALESCE(SUM(e.{column}), 0) AS BIGINT) AS {column}"));
    }

    sql.push_str(&format!(" FROM {table} e"));
    for (nth, dimension) in query.group_by.iter().enumerate() {
        if let Dimension::Tag(name) = dimension {
            let name = bind(Bound::Text(name.clone()));
            sql.push_str(&format!(" LEFT JOIN {tags} t{nth} ON t{nth}.{tagged} = e.id AND t{nth}.name = {name}"));
        }
    }
    let mut conditions = conditions(&query.filter, source, bind);
    conditions.extend(memberships(&query.among, bind));
    sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    if !grouping.is_empty() {
        sql.push_str(&format!(" GROUP BY {}", grouping.join(", ")));
    }
    sql
}

/// Conditions of the filter; at least one.
fn conditions(filter: &LedgerFilter, source: &SumSource, bind: &mut impl FnMut(Bound) -> String) -> Vec<String> {
    let SumSource { tags, tagged, time, .. } = source;
    let mut conditions = vec!["1 = 1".to_owned()];
    let texts = [
        ("tenant", filter.tenant.clone()),
        ("key_id", filter.key_id.clone()),
        ("model", filter.model.clone()),
        ("provider", filter.provider.clone()),
        ("subject", filter.subject.clone()),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
    ];
    for (column, value) in texts.into_iter().filter_map(|(column, value)| Some((column, value?))) {
        conditions.push(format!("e.{column} = {}", bind(Bound::Text(value))));
    }
    for (comparison, limit) in [(">=", filter.from), ("<", filter.to)] {
        conditions.extend(limit.map(|limit| format!("e.{time} {comparison} {}", bind(Bound::Number(limit)))));
    }
    if let Some((name, value)) = &filter.tag {
        let mut with_tag = format!("SELECT {tagged} FROM {tags} WHERE name = {}", bind(Bound::Text(name.clone())));
        if let Some(value) = value {
            with_tag.push_str(&format!(" AND value = {}", bind(Bound::Text(value.clone()))));
        }
        conditions.push(format!("e.id IN ({with_tag})"));
    }
    conditions
}

/// A condition for each list that is not empty.
fn memberships(among: &Among, bind: &mut impl FnMut(Bound) -> String) -> Vec<String> {
    let operations: Vec<String> = among.operations.iter().map(|operation| operation.as_str().to_owned()).collect();
    let lists = [
        ("operation", &operations),
        ("tenant", &among.tenants),
        ("key_id", &among.keys),
        ("subject", &among.subjects),
        ("model", &among.models),
    ];
    let narrowing = lists.into_iter().filter(|(_, values)| !values.is_empty());
    narrowing
        .map(|(column, values)| {
            let values: Vec<String> = values.iter().map(|value| bind(Bound::Text(value.clone()))).collect();
            format!("e.{column} IN ({})", values.join(", "))
        })
        .collect()
}
