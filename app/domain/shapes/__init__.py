"""The shapes that memories are imported from, one module each; `app.domain.imports` is their door."""
