"""The student-only SavedModel, its warm-up file, and what it is checked against."""
