"""Operations on stored runs."""
