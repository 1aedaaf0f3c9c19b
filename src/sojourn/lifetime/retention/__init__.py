"""Features, activity day by day and the campaign log come in; who comes back on which day, pushed or not, goes out."""
