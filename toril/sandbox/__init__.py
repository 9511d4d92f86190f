"""How a call runs behind a wall: everything that touches a child, nothing that touches Redis."""
