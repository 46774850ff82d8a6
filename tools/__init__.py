"""Programs around the network; nothing imports them."""
