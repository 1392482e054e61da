"""One module (or small package) per method; the module's name is the method's name."""
