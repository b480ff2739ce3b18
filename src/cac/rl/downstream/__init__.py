"""The reward in use, in small: a trainable generator of procedural clips whose true anomaly rate is known."""
