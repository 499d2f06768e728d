"""What people look at, drawn from records alone: pages, comparisons, tables, figures."""
