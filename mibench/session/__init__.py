"""What a run does from request to report: plan, execute, records, report, leaderboard."""
