"""What is sold and at which price: products, rate plans, charges, price layers."""
