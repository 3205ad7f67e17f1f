"""Evaluation: result tables, plots and the report page."""
