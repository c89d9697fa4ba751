"""See it think: pictures, an animation and a page of one puzzle being solved."""
