"""The local page on which a person looks at images, annotates and corrects them, and watches a network learn."""
