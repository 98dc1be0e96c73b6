/* A box blur of a grey image: each pixel becomes the mean of the square around it. */

typedef unsigned char pixel;

/* The mean, rounded down, of the pixels at most `radius` away in x and in y; the square ends at the image's edge. */
static pixel mean(const pixel *image, int width, int height, int x, int y, int radius)
{
    long sum = 0, count = 0;
    for (int row = y - radius; row <= y + radius; row++) {
        for (int column = x - radius; column <= x + radius; column++) {
            if (row >= 0 && row < height && column >= 0 && column < width) {
                sum += image[row * width + column];
                count += 1;
            }
        }
    }
    return (pixel)(sum / count);
}

/* Blur `image`, rows of `width` pixels each, into `blurred`, which has room for as many. */
void blur(const pixel *image, pixel *blurred, int width, int height, int radius)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            blurred[y * width + x] = mean(image, width, height, x, y, radius);
        }
    }
}
