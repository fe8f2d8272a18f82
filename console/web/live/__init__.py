"""Pages that change while one looks: one rendering a view, pushed to whoever has it open."""
