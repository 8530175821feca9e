"""Files of photos become pixels: readers, listing, decoding, checking, download. No torch."""
