"""The state of the whole system as data, for `cac status`. It only reads, and gives up on a server after seconds."""
