DROP TABLE usage_month_tags;
DROP TABLE usage_months;
