"""What the tests of other libraries need, a file for each."""
