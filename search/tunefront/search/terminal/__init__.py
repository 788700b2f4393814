"""Every sentence, table and live display on a terminal."""
