"""All messages, tables and live displays on a terminal."""
