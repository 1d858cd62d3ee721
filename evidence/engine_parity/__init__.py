"""How far engines are from torch: part by part on equal inputs, and as whole images."""
