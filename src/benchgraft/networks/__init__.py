"""Networks as chains of named blocks, their freezing, their files. Knows no photos."""
