"""A study shown to people: summaries, the table, the chart."""
