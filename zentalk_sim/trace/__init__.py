"""What a run leaves behind: its tables, its digest, its recordings. Knows neither face."""
