DROP TABLE activation_loads;
DROP TABLE zone_activations;
