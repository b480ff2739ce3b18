"""Functions we replace inside libraries, one a module, each with the version it is for and the test that ends it."""
