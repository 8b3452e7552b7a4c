"""The report: what an evaluation found as CSV files, pictures and one page that needs no network."""
