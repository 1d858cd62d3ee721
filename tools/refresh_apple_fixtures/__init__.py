"""What a Mac's own programs print, recorded while sdperf asks them, and cleaned of who owns it.

python -m tools.refresh_apple_fixtures collect --out apple-fixtures    on a Mac
python -m tools.refresh_apple_fixtures check apple-fixtures            anywhere
"""
