"""`cac status`: the whole system on one screen. It only reads, needs no network, and waits for nobody."""
