"""How often is each latency gate wrong? Simulated sessions, this gate and the gates of others."""
