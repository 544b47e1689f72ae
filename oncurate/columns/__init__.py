"""The columns of the tables: name, type and meaning, by theme. `oncurate.tables` makes tables of them."""
