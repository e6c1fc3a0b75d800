"""The same questions, spoken in real time to two servers by turns: what is faster, by how much, and what is right."""
