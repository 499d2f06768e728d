"""What people look at, drawn from records alone: comparisons, tables, figures."""
