DROP INDEX applications_registered_live;
DROP INDEX applications_registered;
