"""How often unchanged code fails: sessions of one code, each judged against others of it."""
