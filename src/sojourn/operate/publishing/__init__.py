"""Tables of the warehouse come in; the same rows stand where others read them: files, ClickHouse, Redis."""
