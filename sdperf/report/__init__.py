"""What people read: terminal tables, Markdown, HTML, figures. Values in, text out."""
