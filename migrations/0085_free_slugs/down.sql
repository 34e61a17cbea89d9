DROP FUNCTION caracal_free_slug(text);
DROP FUNCTION caracal_hold_slug(text);
